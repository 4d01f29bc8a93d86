"""What both servers are made of: the study (evaluation/human) and the explorer (…/explorer).

`new_app` guards every request and answer, `Pages` renders templates, `text` shows strangers' text,
`serving` opens the port.
"""
