"""A stand-in for Amazon's Just Walk Out Catalog API and the AWS services around it, for tests and trials.

It is written from Amazon's public documents alone and shares no code with the client it tests. Where the
documents are silent, it follows the numbered assumptions in :mod:`catalog_sandbox.assumptions`, which it also
shows on its start page.
"""
