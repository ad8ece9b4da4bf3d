"""From the API's JSON to our objects. What is missing is empty; what has another shape than documented is an error."""
