"""What the product relies on, asked of the local cloud and of the real Azure by the very same tests.

Nothing here reaches into the local cloud: a place is a cloud setting, credentials in the environment, and names. The
real Azure is asked when `places.SUBSCRIPTION` and the other variables are set; see docs/fidelity.md.
"""
