"""What goes wrong in a sandbox; apart, so that a part of it runs without the packages that start services."""


class SandboxError(Exception):
    pass
