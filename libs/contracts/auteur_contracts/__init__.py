"""What every part of Auteur agrees on: resources, facts, orders, subjects, names, errors. Pydantic only, no I/O."""
