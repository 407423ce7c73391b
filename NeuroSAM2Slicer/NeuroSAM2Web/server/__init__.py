"""The app's side towards the browser: who is let in, which files may be touched, uploads and downloads."""
