/**
 * Content as clients may see it: which kinds of blocks there are, which members each has, and since which revision (L13).
 * What a revision has not becomes text that says what was there, or is left out when it is only a member. Kinds and shapes the
 * protocol does not have are refused: nobody knows what a client would make of them. Not done here: inspection (`content/`).
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { unreserved } from './meta.ts';
import { type Feature, type ProtocolVersion, has } from './versions.ts';

type MemberType = 'string' | 'number' | 'boolean' | 'object' | 'array' | 'any';

interface Member {
  readonly type: MemberType;
  readonly required: boolean;
  /** Null: in every revision that has the object at all. */
  readonly since: Feature | null;
}
/** As a list to check against, as a map to look keys up: both are walked for every block of every result. */
interface Shape {
  readonly list: readonly (readonly [key: string, member: Member])[];
  readonly byKey: ReadonlyMap<string, Member>;
}

const must = (type: MemberType): Member => ({ type, required: true, since: null });
const may = (type: MemberType, since: Feature | null = null): Member => ({ type, required: false, since });
const shape = (members: Readonly<Record<string, Member>>): Shape => ({
  list: Object.entries(members),
  byKey: new Map(Object.entries(members)),
});

const META = { _meta: may('object', 'meta') };
const BLOCK = { type: must('string'), annotations: may('object'), ...META };
const MEDIA = { ...BLOCK, data: must('string'), mimeType: must('string') };

// ATTACKER-CONTROLLED: the kind is looked up, so the table must have no inherited members.
const BLOCKS: ReadonlyMap<string, { readonly shape: Shape; readonly since: Feature | null }> = new Map([
  ['text', { shape: shape({ ...BLOCK, text: must('string') }), since: null }],
  ['image', { shape: shape(MEDIA), since: null }],
  ['audio', { shape: shape(MEDIA), since: 'audio' }],
  [
    'resource_link',
    {
      shape: shape({
        ...BLOCK,
        uri: must('string'),
        name: must('string'),
        title: may('string'),
        description: may('string'),
        mimeType: may('string'),
        size: may('number'),
        icons: may('array', 'icons'),
      }),
      since: 'resourceLink',
    },
  ],
  ['resource', { shape: shape({ ...BLOCK, resource: must('object') }), since: null }],
]);
const CONTENTS: Shape = shape({
  uri: must('string'),
  mimeType: may('string'),
  text: may('string'),
  blob: may('string'),
  ...META,
});

/** One block as this revision has it. The error is one sentence for the operator. */
export function contentFor(block: Json, version: ProtocolVersion): Result<JsonObject, string> {
  if (!isJsonObject(block)) return err('a content block is not an object');
  const type = block['type'];
  const kind = typeof type === 'string' ? BLOCKS.get(type) : undefined;
  if (kind === undefined) return err('a content block has an unknown type');
  const shaped = shapedFor(block, kind.shape, version, `a ${type as string} block`);
  if (!shaped.ok) return shaped;
  if (type === 'resource') {
    const resource = contentsFor(block['resource'] as Json, version);
    if (!resource.ok) return err('a resource block has no uri with text or blob');
    return ok(resource.value === block['resource'] ? shaped.value : { ...shaped.value, resource: resource.value });
  }
  return ok(kind.since === null || has(version, kind.since) ? shaped.value : inWords(block, version));
}

/** Every block of an array, or the first thing wrong with one. */
export function contentListFor(
  blocks: Json | undefined,
  version: ProtocolVersion,
): Result<readonly JsonObject[], string> {
  if (!Array.isArray(blocks)) return err('content is not an array');
  const converted: JsonObject[] = [];
  for (const block of blocks as readonly Json[]) {
    const one = contentFor(block, version);
    if (!one.ok) return one;
    converted.push(one.value);
  }
  return ok(converted);
}

/** What `resources/read` and embedded resources hold: a URI with text or bytes, never both. */
export function contentsFor(contents: Json, version: ProtocolVersion): Result<JsonObject, string> {
  if (!isJsonObject(contents)) return err('resource contents are not an object');
  if ((contents['text'] === undefined) === (contents['blob'] === undefined)) {
    return err('resource contents have not exactly one of text and blob');
  }
  return shapedFor(contents, CONTENTS, version, 'resource contents');
}

/** The object with the members of its shape that this revision has; itself when that is all of them. */
function shapedFor(
  object: JsonObject,
  members: Shape,
  version: ProtocolVersion,
  what: string,
): Result<JsonObject, string> {
  for (const [key, { type, required }] of members.list) {
    const value = object[key];
    if (value === undefined ? required : !fits(value, type)) return err(`${what} has no ${key}`);
  }
  const { _meta: meta, annotations } = object;
  const dated = isJsonObject(annotations) && annotations['lastModified'] !== undefined && !has(version, 'lastModified');
  if (meta === undefined && !dated && Object.keys(object).every((key) => isOf(key, members, version)))
    return ok(object);
  const kept: Record<string, Json> = {};
  for (const key of Object.keys(object)) if (isOf(key, members, version)) kept[key] = object[key] as Json;
  if (dated && kept['annotations'] !== undefined) {
    const { lastModified: _, ...others } = annotations;
    kept['annotations'] = others;
  }
  if (isJsonObject(kept['_meta'])) {
    const rest = unreserved(kept['_meta']);
    if (Object.keys(rest).length > 0) kept['_meta'] = rest;
    else delete kept['_meta'];
  }
  return ok(kept);
}

function isOf(key: string, members: Shape, version: ProtocolVersion): boolean {
  const member = members.byKey.get(key);
  return member !== undefined && (member.since === null || has(version, member.since));
}

function fits(value: Json, type: MemberType): boolean {
  if (type === 'any') return true;
  if (type === 'object') return isJsonObject(value);
  return type === 'array' ? Array.isArray(value) : typeof value === type;
}

/** What was there, for clients whose revision cannot show it. */
function inWords(block: JsonObject, version: ProtocolVersion): JsonObject {
  const text =
    block['type'] === 'resource_link'
      ? `${block['name'] as string}: ${block['uri'] as string}`
      : `[${block['mimeType'] as string} left out: protocol version ${version} has no audio]`;
  return { type: 'text', text };
}
