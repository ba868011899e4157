"""users.toml: who may ask for a token, for clusters without an identity service."""

from msgspec import Struct


class User(Struct, frozen=True):
    """One [[users]] entry. A user is known as "account:name" and shows `key` to get a token.

    Groups that begin with a dot carry rights: .admin over the account, .reseller_admin over all accounts,
    .reseller_reader to read all.
    """

    account: str
    name: str
    key: str
    groups: tuple[str, ...] = ()
    url: str = ""


class UsersConfig(Struct, frozen=True):
    users: tuple[User, ...] = ()

    def __post_init__(self) -> None:
        names = [(user.account, user.name) for user in self.users]
        for account, name in names:
            if not account or not name or names.count((account, name)) > 1:
                raise ValueError(f"users: {account}:{name} needs both parts and may stand there once")
