/**
 * What exactly is pinned (TD-01): the whole definition of an item, every member, known or not, in canonical form (RFC 8785), so that key
 * order and white space never alarm and nothing else can change unseen. Digests stand in records and log entries; they are compared as text.
 * The one exception: `size` and `annotations.lastModified` of a resource change with every edit. They are neither pinned nor kept in a record.
 */
import { sha256Hex } from '../lib/bytes.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { canonicalJson, digestOf } from '../lib/canonical-json.ts';
import { hasHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { ItemKind } from './records.ts';
import { itemKey } from './records.ts';

/** Real definitions are under 20 KB and 12 levels. */
const DEFINITION_LIMITS = { bytes: 262_144, depth: 64 } as const;

export type DefinitionProblem =
  | { readonly code: 'definition_not_object' }
  | { readonly code: 'definition_name'; readonly message: string }
  | { readonly code: 'definition_too_large'; readonly bytes: number }
  | { readonly code: 'definition_too_deep' }
  | { readonly code: 'definition_not_canonical' };

/** One definition from a server, within bounds, with its pin. */
export interface SeenDefinition {
  readonly kind: ItemKind;
  /** What the protocol calls it by. */
  readonly name: string;
  readonly key: string;
  /** Exactly what `digest` is of. */
  readonly definition: JsonObject;
  readonly digest: Digest;
}

/** What a server says about itself, as the definition of its one item; null when it says nothing to the model. */
export function serverDefinition(server: {
  readonly serverInfo: JsonObject;
  readonly instructions: string | null;
}): JsonObject | null {
  const { serverInfo, instructions } = server;
  return instructions === null || instructions === '' ? null : { instructions, serverInfo };
}

/** Reads one entry of a list of `kind`, or a `serverDefinition`. Says nothing about its content: scan.ts and a reviewer do. */
export function readDefinition(kind: ItemKind, value: unknown): Result<SeenDefinition, DefinitionProblem> {
  if (!isJsonObject(value)) return err({ code: 'definition_not_object' });
  if (!within(value, DEFINITION_LIMITS.depth)) return err({ code: 'definition_too_deep' });
  const name = nameIn(kind, value);
  if (name === null) return err({ code: 'definition_name', message: NAMING[kind] });
  const definition = kind === 'resource' ? withoutVolatile(value) : value;
  try {
    const text = canonicalJson(definition);
    const bytes = Buffer.byteLength(text);
    if (bytes > DEFINITION_LIMITS.bytes) return err({ code: 'definition_too_large', bytes });
    return ok({ kind, name, key: itemKey(kind, name), definition, digest: `sha256:${sha256Hex(text)}` });
  } catch {
    return err({ code: 'definition_not_canonical' });
  }
}

/** The pin of a definition as the server sent it. ATTACKER-CONTROLLED: `readDefinition` first on anything from a server. */
export function definitionDigest(definition: JsonObject): Digest {
  return digestOf(definition);
}

const NAMING: Readonly<Record<ItemKind, string>> = {
  tool: 'a tool name is 1 to 512 visible characters without spaces',
  prompt: 'a prompt name is 1 to 512 visible characters, with single spaces inside at most',
  resource: 'a resource has a uri of 1 to 2048 visible characters that begins with a scheme, and a name',
  template: 'a resource template has a uriTemplate of 1 to 2048 visible characters, and a name',
  server: 'a server has instructions and a serverInfo',
};

/** ATTACKER-CONTROLLED: a name that looks like another one is a finding; a name that hides something is no name. */
function nameIn(kind: ItemKind, value: JsonObject): string | null {
  const visible = (text: Json | undefined, longest: number): text is string =>
    typeof text === 'string' && text.length > 0 && text.length <= longest && !hasHidden(text);
  const { name, uri, uriTemplate } = value;
  switch (kind) {
    case 'tool':
      return visible(name, 512) && !/\s/.test(name) ? name : null;
    case 'prompt':
      return visible(name, 512) && !/^ | $| {2}|[^\S ]/.test(name) ? name : null;
    case 'resource':
      return visible(uri, 2048) && /^[A-Za-z][A-Za-z0-9+.-]*:\S*$/.test(uri) && typeof name === 'string' ? uri : null;
    case 'template':
      return visible(uriTemplate, 2048) && !/\s/.test(uriTemplate) && typeof name === 'string' ? uriTemplate : null;
    case 'server':
      return typeof value['instructions'] === 'string' && isJsonObject(value['serverInfo']) ? 'instructions' : null;
  }
}

function withoutVolatile(resource: JsonObject): JsonObject {
  const { size: _, annotations, ...rest } = resource;
  if (!isJsonObject(annotations) || !('lastModified' in annotations))
    return annotations === undefined ? rest : { ...rest, annotations };
  const { lastModified: __, ...kept } = annotations;
  return Object.keys(kept).length === 0 ? rest : { ...rest, annotations: kept };
}

/** A pinned resource with what was left out of its pin put back, as far as it is a size and a date; for lists. */
export function withVolatile(pinned: JsonObject, resource: JsonObject): JsonObject {
  const { size, annotations } = resource;
  const lastModified = isJsonObject(annotations) ? annotations['lastModified'] : undefined;
  return {
    ...pinned,
    ...(typeof size === 'number' && { size }),
    // ATTACKER-CONTROLLED: text that no reviewer sees. Only what reads as a date passes.
    ...(typeof lastModified === 'string' &&
      /^[0-9TZtz:.+-]{4,40}$/.test(lastModified) && {
        annotations: { ...(pinned['annotations'] as JsonObject | undefined), lastModified },
      }),
  };
}

function within(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  return Object.values(value).every((item: Json) => within(item, levels - 1));
}
