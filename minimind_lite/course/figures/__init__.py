"""Static figures: each module holds one chapter's, and each function returns a Figure or HTML."""
