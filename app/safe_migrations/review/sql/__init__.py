"""Raw SQL as operations. To import a module of it besides ops.py takes sqlglot, which takes its time to load."""
