/**
 * A first guess at the risk class of an item, for the review form. It decides nothing: the class that counts is the reviewer's (AZ-06).
 */
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { ItemKind, RiskClass } from './records.ts';

export interface RiskHint {
  readonly risk: RiskClass;
  readonly why: string;
}

const WORDS: ReadonlyArray<readonly [RiskClass, ReadonlySet<string>]> = [
  ['execute', new Set(['exec', 'execute', 'run', 'shell', 'eval', 'command', 'script', 'spawn', 'deploy', 'trigger'])],
  [
    'destructive',
    new Set(['delete', 'remove', 'drop', 'purge', 'destroy', 'truncate', 'wipe', 'revoke', 'kill', 'reset']),
  ],
  [
    'write',
    new Set(
      'write create update edit set put post send move rename upload insert add modify patch save merge publish toggle'.split(
        ' ',
      ),
    ),
  ],
  [
    'read',
    new Set(['read', 'get', 'list', 'search', 'find', 'fetch', 'show', 'view', 'describe', 'query', 'count', 'echo']),
  ],
];

const NOUN = {
  prompt: 'prompt',
  resource: 'resource',
  template: 'resource of a template',
  server: 'text of the server',
} as const;

/**
 * A first guess for the review form, from the tool's name. ATTACKER-CONTROLLED: the server chose name and annotations, so this
 * decides nothing; annotations can only raise the guess, and a name that says nothing counts as a write.
 */
export function suggestRisk(kind: ItemKind, definition: JsonObject): RiskHint {
  if (kind !== 'tool') return { risk: 'read', why: `a ${NOUN[kind]} is read` };
  const name = typeof definition['name'] === 'string' ? definition['name'] : '';
  const parts = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const named = WORDS.find(([, words]) => parts.some((part) => words.has(part)));
  const annotations = isJsonObject(definition['annotations']) ? definition['annotations'] : {};
  if (annotations['destructiveHint'] === true && (!named || named[0] === 'read' || named[0] === 'write')) {
    return { risk: 'destructive', why: 'the server says it may destroy (destructiveHint)' };
  }
  if (!named) return { risk: 'write', why: 'the name does not say what it does' };
  return { risk: named[0], why: `the name contains a word of the class ${named[0]}` };
}
