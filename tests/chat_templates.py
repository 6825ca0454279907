# ruff: noqa: E501 (templates have long lines)
"""Chat templates of the shapes that models have, in words of our own."""

from __future__ import annotations

CHATML = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

TEMPLATES = {
    "plain": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
    "ChatML": CHATML,
    "Llama 3": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today: " + date_string + "\\n" + system_message + "<|im_end|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|im_end|>' }}
    {%- elif 'tool_calls' in message %}
        {%- for call in message.tool_calls %}{{- call.function | tojson }}{%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
    "Mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if (message.role == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate user/assistant/user/assistant") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
""",
    "Gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}""",
    "Phi": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{ '<|system|>\n' + message['content'] + '<|end|>\n' }}
{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}{% else %}{{ '<|' + message['role'] + '|>' }}{% continue %}{% endif %}
{% if loop.index > 3 %}{% break %}{% endif %}{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "Granite": """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Knowledge Cutoff Date: April 2024.\\nToday's Date: " + strftime_now('%B %d, %Y') + "." %}
    {%- if tools and documents %}{%- set system_message = system_message + " Tools and documents." %}
    {%- elif documents is not none %}{%- set system_message = system_message + " Documents." %}{%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start|>system<|end|>' + system_message + '<|im_end|>\\n' }}
{%- if tools is not none %}{{- tools | tojson(indent=4) }}{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start|>' + message['role'] + '<|end|>' + message['content'] + '<|im_end|>\\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start|>assistant' }}{%- if controls %}{{- ' ' + controls | tojson }}{%- endif %}{{- '<|end|>' }}
    {%- endif %}
{%- endfor %}""",
    "SmolLM3": """{%- set reasoning_mode = "/think" if enable_thinking is not defined or enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\\nDate: " ~ strftime_now("%d %B %Y") ~ "\\nMode: " ~ reasoning_mode ~ "<|im_end|>\\n" -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>user\\n" + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ "<|im_start|>assistant\\n" }}
{%- endif -%}""",
    "Qwen3": """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and reasoning_content %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "parts": """{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}<|im_start|>assistant
""",
    "names": "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}|{{ sep_token }}|{{ tools }}|{{ documents }}|{{ x }}",
    "tojson": """{{ {'b': [1, 2.5, none, true], 'a': 'é<&>'} | tojson }}
{{ {'b': 1, 'a': 'é'} | tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true) }}{{ tools | tojson }}
{{ messages | tojson(indent=2) }}{{ [] | tojson(true, 2, (', ', '='), true) }}""",
    "tools": "{% if tools is not none %}You can call: {{ tools }}\n{% endif %}{% if documents is not none %}D{% endif %}{{ messages[-1].content }}",
    "generation": """{% for m in messages %}
{% set x = 1 %}
  {% generation %}
  {% set x = 2 %}{{ m.role }}{{ x }}
  {% endgeneration %}
{{ x }}{%- generation -%} a {%- endgeneration -%}
{% endfor %}""",
    "objects": "{% set d = dict(a=1, b=2) %}{{ d.a }}{{ dict.fromkeys('ab', 1) }}{% set n = namespace(x=1, self=2) %}{% set n.x = 3 %}{{ n.x }}{{ n.self }}",
    "loops": "{% for m in messages %}{% if loop.index is even %}{% continue %}{% endif %}{{ m.content | upper }}{% endfor %}{% for i in range(9) %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "macros": "{% macro turn(m, end='') -%}\n  [{{ m.role }}] {{ m.content | replace('a', 'b') | title }}{{ end }}\n{%- endmacro %}\n{% for m in messages %}{{ turn(m, end=eos_token) }}{% endfor %}",
    "keys": "{% for m in messages %}{{ m.name }}{{ m.get('name', '-') }}{{ m.thinking }}{{ m.reasoning_content }}{{ m | length }}{{ m.keys() | list }}{% endfor %}",
    "blanks": "  {% if true %}  \n  x {{ '' }}\n  {%- if false %}\ny\n{% endif %}\n{% endif %}\n{# c #}\n  {# d #}\n\n{{ messages[0].content }}\n",
}
TEMPLATES |= {
    "Llama 2": """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "Zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "Command R": """{{ bos_token }}{% if documents %}{{ documents | map(attribute='text') | join(', ') }}{% endif %}{% for message in messages | rejectattr('role', 'equalto', 'system') %}{{ '<|start|>' ~ (message.role | upper) ~ '<|end|>' ~ (message.content | string | trim | truncate(20)) }}{% endfor %}{% filter indent(2) %}{{ messages | map(attribute='role') | join('\n') }}{% endfilter %}""",
    "DeepSeek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{'<|Assistant|>'}}{% endif %}""",
}
TOOLS = [{"type": "function", "function": {"name": "lamp", "arguments": {"é": 1, "on": True}}}]
CHATS = {
    "user": [{"role": "user", "content": "Which lamp? <é> & \u2764\ufe0f"}],
    "system": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "Which lamp?  "}],
    "turns": [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "<think>\nno\n</think>\n\nTwo."},
        {"role": "user", "content": "\n Three?\n"},
    ],
    "developer": [{"role": "developer", "content": "Be nice."}, {"role": "user", "content": "Hi"}],
    "named": [{"role": "user", "content": "Hi", "name": "Ann", "x": None, "n": 3, "f": 1.5}],
    "prefill": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well, "}],
    "tool calls": [
        {"role": "user", "content": "On!"},
        {"role": "assistant", "content": None, "tool_calls": TOOLS},
        {"role": "tool", "content": "{\"ok\": true}", "tool_call_id": "1"},
    ],
    "reasoning": [
        {"role": "user", "content": "On?"},
        {"role": "assistant", "content": "Yes.", "reasoning": "Why not."},
        {"role": "assistant", "content": "No.", "thinking": "Hm.", "reasoning_content": None},
    ],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Which "}, {"type": "image"}, {"type": "text", "text": "lamp?"}]}],
    "empty": [{"role": "user", "content": ""}],
}  # fmt: skip
