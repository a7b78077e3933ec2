"""From the JSON of a value back to PostgreSQL's text of it."""
import base64
import json

from delivered import Members, Number


def raw_json(value):
    """JSON text with numbers as they were."""
    if value is None:
        return 'null'
    if value is True:
        return 'true'
    if value is False:
        return 'false'
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Members):
        return '{' + ','.join(f'{raw_json(k)}:{raw_json(v)}' for k, v in value) + '}'
    return '[' + ','.join(raw_json(item) for item in value) + ']'


def to_text(types, oid, value):
    """Text that the type's input function reads; None for null."""
    row = types[oid]
    while row['typtype'] == 'd':
        oid = row['typbasetype']
        row = types[oid]
    if row['typname'] in ('json', 'jsonb') and row['schema'] == 'pg_catalog':
        return None if value is None else raw_json(value)
    if value is None:
        return None
    if row['typname'] == 'bytea':
        return '\\x' + base64.b64decode(value, validate=True).hex()
    if row['is_array']:
        return array_text(types, types[row['typelem']], value)
    if row['typtype'] == 'c':
        return composite_text(types, row, value.as_dict())
    if value is True or value is False:
        return 't' if value else 'f'
    if not isinstance(value, str):
        raise ValueError(f'a value of type {row["name"]} as {value!r}')
    return str(value)


def quoted(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def array_text(types, element, value):
    # the JSON of an array of json cannot tell a dimension from an array: one is assumed
    nests = not element['typname'].startswith('json')
    items = []
    for item in value:
        if nests and isinstance(item, list) and not isinstance(item, Members):
            items.append(array_text(types, element, item))
        else:
            text = to_text(types, element['oid'], item)
            items.append('NULL' if text is None else quoted(text))
    return '{' + element['typdelim'].join(items) + '}'


def composite_text(types, row, members):
    fields = []
    for field in row['fields']:
        text = to_text(types, field['type'], members[field['name']])
        fields.append('' if text is None else quoted(text))
    return '(' + ','.join(fields) + ')'
