"""Runs programs that know nothing of the local cloud as if they were in Azure: by Azure's own names and addresses.

A program in here resolves `management.azure.com` or `<account>.queue.core.windows.net`, and finds the local cloud
there, with certificates that it trusts; so do its children, and nobody else on the machine. Nothing of the program is
changed, and nothing of the machine.
"""
