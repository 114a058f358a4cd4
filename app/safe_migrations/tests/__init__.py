"""The tests of the package, on an app of their own (example/): what is added to yours changes none of them.

python -m pytest app/safe_migrations
"""
