"""The page that people use: Gradio components, our own viewer, and the web application that serves both."""
