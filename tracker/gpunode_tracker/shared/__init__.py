"""What replicas of one tracker share: rates, presence of workers and news by Redis, live adverts by the database.

Redis is optional, and may come and go: without it each replica counts for itself and looks into the database.
"""
