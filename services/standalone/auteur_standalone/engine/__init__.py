"""What stands in for operator and scheduler on one machine: the same decisions (auteur_lifecycle), another shell."""
