"""The file that Streamlit runs, again and again; everything is in chat.py."""

from minimind_lite.serving.page.chat import show_page

show_page()
