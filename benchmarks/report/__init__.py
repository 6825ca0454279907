"""Write the results into the pages of docs."""
