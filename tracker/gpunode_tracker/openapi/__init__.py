"""The OpenAPI 3.1 document, made from the URL table and the models: what is served and what is said of it agree."""
