"""The chat page: `minimind webui`, a Streamlit script that talks to any OpenAI-compatible server."""
