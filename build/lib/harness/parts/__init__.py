"""What fills a specification's slots."""
