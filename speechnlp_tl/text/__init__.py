"""Text: documents as features, and the classifiers of documents."""
