"""The demonstration: the whole story on one machine, told in a few lines, with a verdict counted from outside.

It drives the product as a user would, with helm, kubectl and ``workforce-agent push``, and knows nothing of its inside.
"""
