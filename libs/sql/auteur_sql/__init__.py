"""What every database of ours shares: engines, migrations, one writer with group commit, the outbox and its relay."""
