/**
 * The arguments of a call, whole: every value once, in one order that the sender does not choose, before anything that can be clicked.
 * Nothing is folded, cut or left to scrolling sideways; what a quick look would miss is said first, with the place.
 */
import type { Json, JsonObject } from '../../lib/json.ts';
import { markup, type Markup } from '../../lib/html.ts';
import { characters, label, piecesOf, remarks, visibleText } from './visible.ts';

export interface Leaf {
  /** JSON Pointer (RFC 6901). */
  readonly path: string;
  readonly type: 'text' | 'number' | 'yes or no' | 'nothing' | 'empty list' | 'empty object' | 'empty text';
  /** As in the JSON; for texts the text itself. */
  readonly text: string;
}

/** Members by the order of their names, as in the digest (RFC 8785). */
export function leavesOf(value: Json, path = ''): Leaf[] {
  if (Array.isArray(value))
    return value.length === 0
      ? [{ path, type: 'empty list', text: '[]' }]
      : value.flatMap((item: Json, at) => leavesOf(item, `${path}/${at}`));
  if (typeof value === 'object' && value !== null) {
    const names = Object.keys(value).sort();
    return names.length === 0
      ? [{ path, type: 'empty object', text: '{}' }]
      : names.flatMap((name) => leavesOf((value as JsonObject)[name] as Json, `${path}/${escapeName(name)}`));
  }
  if (typeof value === 'string')
    return value === '' ? [{ path, type: 'empty text', text: '' }] : [{ path, type: 'text', text: value }];
  if (typeof value === 'number') return [{ path, type: 'number', text: JSON.stringify(value) }];
  if (typeof value === 'boolean') return [{ path, type: 'yes or no', text: String(value) }];
  return [{ path, type: 'nothing', text: 'null' }];
}

const escapeName = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');

/** Text in a page, exactly as visible as `visibleText` and with the breaks that it names. */
export const shown = (text: string): Markup =>
  markup`${piecesOf(text).map((piece) => {
    if (piece.kind === 'text') return markup`${piece.text}`;
    if (piece.kind === 'rtl') return markup`<bdi dir="rtl">${piece.text}</bdi>`;
    const mark = markup`<span class="mk">${label(piece)}</span>`;
    return piece.code === 0x0a ? markup`${mark}<br>` : mark;
  })}`;

export function argumentsMarkup(args: JsonObject): Markup {
  const leaves = leavesOf(args);
  const none = Object.keys(args).length === 0;
  const total = leaves.reduce((sum, { text }) => sum + characters(text), 0);
  const odd = leaves.flatMap((leaf, at) => {
    const said = [...remarks(leaf.text), ...remarks(leaf.path).map((remark) => `${remark} in the name`)];
    return said.length === 0 ? [] : [{ at, path: leaf.path, said }];
  });
  if (none) return markup`<p class="note" data-arguments="0">The call has no arguments.</p>`;
  return markup`<p>${count(leaves.length, 'value')}, ${count(total, 'character')} in all. Every one of them stands below, whole, in the order of the names. What has no ink is written as <span class="mk">⟨…⟩</span>.</p>
${
  odd.length === 0
    ? null
    : markup`<div class="warn" role="note"><p><strong>Look closer at ${count(odd.length, 'value')}:</strong></p>
<ul>
${odd.map(
  ({ at, path, said }) => markup`<li><a href="#v${at}" dir="ltr">${visibleText(path)}</a>: ${said.join(', ')}</li>
`,
)}</ul></div>`
}
<dl class="values" data-arguments="${leaves.length}">
${leaves.map(
  (
    { path, type, text },
    at,
  ) => markup`<dt id="v${at}"><code class="name" dir="ltr">${shown(path)}</code> <small>${type}${type === 'text' ? `, ${count(characters(text), 'character')}` : ''}</small></dt>
<dd><div class="value" dir="ltr">${shown(text)}</div></dd>
`,
)}</dl>`;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
