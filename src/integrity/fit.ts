/**
 * What the arguments of a use must fit, per kind of item (CI-01): a tool's own input schema, a prompt's declared arguments as strings,
 * `{ uri }` for what is read. Which URI is whose is not checked here: gateway/snapshot.ts resolves that.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { ItemKind } from './records.ts';
import type { ArgumentCheck } from './schema.ts';
import { compileArguments } from './schema.ts';
import { MAX_URI, compileTemplate } from './uri-template.ts';

export interface Fit {
  /** JSON Schema of the arguments; for tools the pinned one itself. */
  readonly schema: JsonObject;
  readonly check: ArgumentCheck;
}

export interface FitProblem {
  readonly message: string;
}

const BY_URI: JsonObject = {
  type: 'object',
  properties: { uri: { type: 'string', minLength: 1, maxLength: MAX_URI } },
  required: ['uri'],
  additionalProperties: false,
};
const MAX_PROMPT_ARGUMENTS = 100;

/** Err: the item cannot be approved, because what a caller sends to it could not be checked. Cheap for a definition it has seen. */
export function fitOf(kind: ItemKind, definition: JsonObject): Result<Fit, FitProblem> {
  const schema = schemaOf(kind, definition);
  if (!schema.ok) return schema;
  const compiled = compileArguments(schema.value);
  return compiled.ok ? ok({ schema: schema.value, check: compiled.value }) : err({ message: compiled.error.message });
}

function schemaOf(kind: ItemKind, definition: JsonObject): Result<JsonObject, FitProblem> {
  switch (kind) {
    case 'tool': {
      const schema = definition['inputSchema'];
      return isJsonObject(schema) ? ok(schema) : err({ message: 'the definition has no inputSchema object' });
    }
    case 'prompt':
      return promptSchema(definition['arguments']);
    case 'template': {
      const compiled = compileTemplate(typeof definition['uriTemplate'] === 'string' ? definition['uriTemplate'] : '');
      return compiled.ok ? ok(BY_URI) : err({ message: `the URI template ${compiled.error.message}` });
    }
    case 'resource':
    case 'server':
      return ok(BY_URI);
  }
}

function promptSchema(declared: Json | undefined): Result<JsonObject, FitProblem> {
  const list: unknown = declared ?? [];
  if (!Array.isArray(list) || list.length > MAX_PROMPT_ARGUMENTS)
    return err({ message: `\`arguments\` is not an array of at most ${MAX_PROMPT_ARGUMENTS}` });
  const required = new Map<string, boolean>();
  for (const argument of list as readonly Json[]) {
    const name = isJsonObject(argument) ? argument['name'] : undefined;
    if (typeof name !== 'string' || name === '' || required.has(name))
      return err({ message: 'an element of `arguments` has no name of its own' });
    required.set(name, (argument as JsonObject)['required'] === true);
  }
  return ok({
    type: 'object',
    properties: Object.fromEntries([...required.keys()].map((name) => [name, { type: 'string' }])),
    required: [...required].filter(([, must]) => must).map(([name]) => name),
    additionalProperties: false,
  });
}
