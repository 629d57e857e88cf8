"""What the operator needs from the outside world: small protocols in the words of the domain.

Docstrings state the semantics that callers rely on: idempotency, ordering, and the errors that may be raised.
"""
