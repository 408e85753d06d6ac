"""A page of sections with tables, figures and facts, as HTML and as Markdown, and what a dataset's card says on one."""
