"""Facts → rows: what is known of every unfinished job, kept in memory, written in batches, and asked for where the
events may not have said it.
"""
