"""What a request body asks for, as far as its price and its routing need: one file per family of dialects.

    parsing.py             bytes to a Call, with all that every dialect has in common; and the body that goes upstream
    shape.py               what a dialect's reader offers
    openai_chat.py         chat completions           openai_completions.py   the older completions
    openai_responses.py    responses                  openai_embeddings.py    embeddings
    anthropic_messages.py  messages and count_tokens
    media.py  links.py     images, audio and files; what is inside the body, on the web, stored at the provider
    tools.py               tools on the provider's side

Knows no price and no hold. A malformed part that changes neither price nor route is upstream's to judge.
"""
