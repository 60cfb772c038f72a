"""The two databases behind one small protocol (`db.backends.base.Backend`)."""
