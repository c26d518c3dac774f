"""What is counted and listed by state is counted and listed in one namespace."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_namespace_state_id", "jobs", ["namespace", "state", "id"])
    op.drop_index("ix_jobs_state_id", "jobs")


def downgrade() -> None:
    op.create_index("ix_jobs_state_id", "jobs", ["state", "id"])
    op.drop_index("ix_jobs_namespace_state_id", "jobs")
