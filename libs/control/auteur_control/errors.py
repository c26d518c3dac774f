"""What can go wrong between us and what is true, the same on every shell.

ResourceError                    with what was asked for and what was answered
├── Gone          404, 410       no such object
├── Exists        409            a create: the name is taken
├── Conflicted    409            an update: the object has changed since it was read
├── Forbidden     403            RBAC, a quota or a policy says no
├── Invalid       400, 422       it is understood and refused
├── Unreadable                   what is stored, by this version: another one may
└── Unreachable   everything else: try again
"""


class ResourceError(Exception):
    def __init__(self, asked: str, said: str) -> None:
        super().__init__(f"{asked}: {said}")
        self.said = said


class Gone(ResourceError):
    pass


class Exists(ResourceError):
    pass


class Conflicted(ResourceError):
    pass


class Forbidden(ResourceError):
    pass


class Invalid(ResourceError):
    pass


class Unreadable(ResourceError):
    pass


class Unreachable(ResourceError):
    pass
