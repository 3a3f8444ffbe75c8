"""An OpenAI-compatible server around the engine of ``generation.continuous``: ``minimind serve DIR``.

Needs the packages of the extra ``serve``. One machine and a few users are its job; it has no accounts and no quotas.
"""
