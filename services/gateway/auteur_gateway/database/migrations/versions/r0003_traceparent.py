"""A command carries the trace of the request that gave it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("traceparent", sa.String(128), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("outbox", "traceparent")
