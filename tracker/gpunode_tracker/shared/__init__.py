"""What the replicas of one tracker share: rates, presence and news through Redis, live adverts through the database.

Redis is optional, and may come and go: without it each replica counts for itself and looks into the database.
"""
