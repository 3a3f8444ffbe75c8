"""One folder per chapter, named after its notebook. No list names them: ``kit.discovery`` finds what is here."""
