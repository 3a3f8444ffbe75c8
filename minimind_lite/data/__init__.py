"""From files of records to blocks of tokens: validate, tokenize, store, pack."""
