"""Packaging: each tier is a folder at the top of the repository and installs as objstore.<tier>."""

from setuptools import Extension, find_packages, setup

TIERS = ("ring", "proxy", "account", "container", "object", "identity", "image", "compute", "tools", "bench")


def packages() -> list[str]:
    """Every package by its import name.

    The links objstore/<tier> are left out: through them each tier would be found twice.
    """
    links = [pattern for tier in TIERS for pattern in (tier, f"{tier}.*")]
    names = ["objstore", *(f"objstore.{name}" for name in find_packages("objstore", exclude=links))]
    for tier in TIERS:
        names += [f"objstore.{tier}", *(f"objstore.{tier}.{name}" for name in find_packages(tier))]
    return names


# Why each of these is needed: docs/decisions/0002-dependencies.md.
RUNTIME = [
    "alembic>=1.16",
    "awscrt>=0.31",
    "cheroot>=10.0",
    "click>=8.1",
    "cryptography>=42",
    "dnspython>=2.6",
    "eventlet>=0.36",
    "greenlet>=3.0",
    "httptools>=0.6",
    "lxml>=5.2",
    "msgspec>=0.19",
    "netifaces>=0.11",
    "numpy>=1.26",
    "prometheus_client>=0.20",
    "pyeclib>=1.6.4",
    "pymemcache>=4.0",
    "rich>=13.7",
    "sqlalchemy>=2.0",
    "tooz>=6.0",
    "webob>=1.8.7",
    "xattr>=1.1",
    "xxhash>=3.4",
]

# Databases that the cloud services may use instead of SQLite.
POSTGRESQL = ["psycopg[binary]>=3.1"]
MARIADB = ["pymysql>=1.1"]

# Charts of `objstore ring plot` and `simulate`.
PLOT = ["matplotlib>=3.8"]

TEST = [
    "boto3>=1.36",
    "coverage>=7.4",
    "hypothesis>=6.100",
    "lxml-stubs>=0.5",
    "mypy>=1.11",
    "pytest>=8.2",
    "pytest-cov>=5.0",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "python-swiftclient>=4.6",
    *POSTGRESQL,
    *MARIADB,
    "requests>=2.32",
    "ruff>=0.6",
]

setup(
    name="objstore",
    version="0.1.0",
    description="A distributed object store that speaks the Swift API",
    python_requires=">=3.11",
    packages=packages(),
    package_dir={"objstore": "objstore"} | {f"objstore.{tier}": tier for tier in TIERS},
    ext_modules=[Extension("objstore.system.crew", ["objstore/system/crew.c"])],
    package_data={
        "objstore": ["py.typed", "system/crew.pyi"],
        "objstore.bench": ["*.lua", "*.sh"],
        "objstore.compute.guest": ["*.sh"],
    },
    install_requires=RUNTIME,
    extras_require={"postgresql": POSTGRESQL, "mariadb": MARIADB, "plot": PLOT, "test": TEST},
    entry_points={
        "console_scripts": [
            "objstore = objstore.tools.main:main",
            "objstore-ring-builder = objstore.tools.ring_builder:main",
        ]
    },
)
