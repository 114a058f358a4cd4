# Read by `flask`; never a secret, it is committed. Secrets and what differs between machines go into .env.
FLASK_APP=wsgi.py
