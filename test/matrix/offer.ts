/** What every server of the matrix offers, as data: the servers of both SDK generations are made from it, and the clients ask for it. */
import type { Revision } from './revisions.ts';

export interface OfferedTool {
  readonly name: string;
  /** The revision that brought what the tool shows. */
  readonly since: Revision;
  readonly outputSchema?: Readonly<Record<string, unknown>>;
  /** What it answers. Left out: the server does something on the way. */
  readonly result?: Readonly<Record<string, unknown>>;
}

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGOQq4gCAAGoAPHvydioAAAAAElFTkSuQmCC';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==';
export const LINK = 'matrix://text';

const number = { type: 'number' };

export const TOOLS: readonly OfferedTool[] = [
  { name: 'text', since: '2024-11-05', result: { content: [{ type: 'text', text: 'plain' }] } },
  { name: 'image', since: '2024-11-05', result: { content: [{ type: 'image', data: PNG, mimeType: 'image/png' }] } },
  { name: 'audio', since: '2025-03-26', result: { content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] } },
  { name: 'link', since: '2025-06-18', result: { content: [{ type: 'resource_link', uri: LINK, name: 'text' }] } },
  {
    name: 'structured',
    since: '2025-06-18',
    outputSchema: { type: 'object', properties: { sum: number }, required: ['sum'] },
    result: { content: [{ type: 'text', text: '{"sum":3}' }], structuredContent: { sum: 3 } },
  },
  {
    name: 'array',
    since: '2026-07-28',
    outputSchema: { type: 'array', items: number },
    result: { content: [{ type: 'text', text: '[1,2]' }], structuredContent: [1, 2] },
  },
  {
    name: 'error',
    since: '2024-11-05',
    result: { content: [{ type: 'text', text: 'failed on purpose' }], isError: true },
  },
  { name: 'progress', since: '2024-11-05' },
  { name: 'log', since: '2024-11-05' },
  { name: 'form', since: '2025-06-18' },
  { name: 'model', since: '2024-11-05' },
  { name: 'roots', since: '2024-11-05' },
  /** Runs until it is cancelled. */
  { name: 'slow', since: '2024-11-05' },
  /** How many slow calls were cancelled so far. */
  { name: 'stopped', since: '2024-11-05' },
];

export const FORM = {
  message: 'Your name?',
  requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] },
};
export const QUESTION = {
  messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Say pong.' } }],
  maxTokens: 16,
};
export const TEMPLATE = 'matrix://item/{id}';
export const WORDS = ['paris', 'park', 'party'];

export const said = (text: string) => ({ content: [{ type: 'text' as const, text }] });
export const completionOf = (value: string) => {
  const values = WORDS.filter((word) => word.startsWith(value));
  return { completion: { values, total: values.length, hasMore: false } };
};
/** The text of a resource: the listed one, or one of the template. */
export function textOf(uri: string): string | undefined {
  if (uri === LINK) return 'the text';
  return /^matrix:\/\/item\/([^/]+)$/.exec(uri)?.[1]?.replace(/^/, 'item ');
}
