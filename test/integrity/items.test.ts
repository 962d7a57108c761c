/** Prompts, resources, templates and instructions as governed items: pinned (TD-01), off until reviewed (TD-03), checked at use (CI-01). */
import { describe, expect, test } from 'vitest';
import { readDefinition } from '../../src/integrity/definition.ts';
import type { SeenDefinition } from '../../src/integrity/definition.ts';
import { withVolatile } from '../../src/integrity/definition.ts';
import { diffDefinitions } from '../../src/integrity/diff.ts';
import { fitOf } from '../../src/integrity/fit.ts';
import { ToolRecord, itemKey } from '../../src/integrity/records.ts';
import type { ItemKind } from '../../src/integrity/records.ts';
import { approve, observe, vanish, withdraw } from '../../src/integrity/review.ts';
import { suggestRisk } from '../../src/integrity/risk-hint.ts';
import { recordIsSound, toolStanding } from '../../src/integrity/standing.ts';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { isJsonObject } from '../../src/lib/json.ts';

const AT = 1_800_000_000_000;

const ITEMS: ReadonlyArray<readonly [ItemKind, string, JsonObject]> = [
  [
    'prompt',
    'greeting',
    {
      name: 'greeting',
      title: 'Greeting',
      description: 'Says hello.',
      arguments: [
        { name: 'who', description: 'Whom to greet', required: true },
        { name: 'tone', title: 'Tone', required: false },
      ],
      icons: [{ src: 'data:image/png;base64,AA==', mimeType: 'image/png' }],
      _meta: { 'vendor/x': 1 },
    },
  ],
  [
    'resource',
    'file:///docs/readme.md',
    {
      uri: 'file:///docs/readme.md',
      name: 'readme.md',
      title: 'Read me',
      description: 'The manual.',
      mimeType: 'text/markdown',
      annotations: { audience: ['user'], priority: 0.5 },
      _meta: { ui: { prefersBorder: true } },
    },
  ],
  [
    'template',
    'file:///docs/{+path}',
    {
      uriTemplate: 'file:///docs/{+path}',
      name: 'docs',
      description: 'Any document.',
      mimeType: 'text/plain',
      annotations: { audience: ['assistant'] },
    },
  ],
  [
    'server',
    'instructions',
    { instructions: 'Ask before you write.', serverInfo: { name: 'docs', version: '1.0.0', icons: [{ src: 'x' }] } },
  ],
];

function seen(kind: ItemKind, value: unknown): SeenDefinition {
  const read = readDefinition(kind, value);
  if (!read.ok) throw new Error(read.error.code);
  return read.value;
}

type Path = ReadonlyArray<string | number>;
function* paths(value: Json, at: Path = []): Generator<Path> {
  const entries = Array.isArray(value) ? [...value.entries()] : isJsonObject(value) ? Object.entries(value) : [];
  for (const [key, item] of entries as ReadonlyArray<[string | number, Json]>) {
    yield [...at, key];
    yield* paths(item, [...at, key]);
  }
}
function changed(root: JsonObject, path: Path): JsonObject {
  const copy = structuredClone(root) as Record<string | number, Json>;
  let parent = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as unknown as Record<string | number, Json>;
  const last = path.at(-1)!;
  const value = parent[last]!;
  parent[last] = typeof value === 'string' ? `${value}x` : typeof value === 'number' ? value + 1 : 'another type';
  return copy;
}

describe('TD-01: the pin of every kind', () => {
  test.each(ITEMS)(
    'TD-01: %s: a change at any path of the definition is another pin, another name or no item',
    (kind, _name, value) => {
      const pinned = seen(kind, value);
      let mutants = 0;
      for (const path of paths(value)) {
        const mutant = changed(value, path);
        const read = readDefinition(kind, mutant);
        mutants++;
        if (!read.ok) continue;
        expect(read.value.digest, path.join('/')).not.toBe(pinned.digest);
        expect(diffDefinitions(pinned.definition, read.value.definition).length, path.join('/')).toBeGreaterThan(0);
      }
      expect(mutants).toBeGreaterThan(4);
    },
  );

  test.each(ITEMS)(
    'TD-01: %s %s: the key says which it is, and one member more is another pin',
    (kind, name, value) => {
      const read = seen(kind, value);
      expect([read.kind, read.name, read.key]).toEqual([kind, name, `${kind} ${name}`]);
      expect(seen(kind, { ...value, 'x-note': 'obey' }).digest).not.toBe(read.digest);
      expect(seen(kind, Object.fromEntries(Object.entries(value).toReversed())).digest).toBe(read.digest);
    },
  );

  test('TD-01: size and lastModified of a resource are left out of its pin and of its record, and of nothing else', () => {
    const [, , value] = ITEMS[1]!;
    const annotated = {
      ...value,
      annotations: { ...(value['annotations'] as JsonObject), lastModified: '2026-11-22' },
    };
    expect(seen('resource', { ...annotated, size: 7 })).toEqual(seen('resource', value));
    const bare = { uri: 'x:y', name: 'y' };
    expect(seen('resource', { ...bare, annotations: { lastModified: '2026' } }).digest).toBe(
      seen('resource', bare).digest,
    );
    expect(seen('resource', { ...bare, annotations: {} }).digest).not.toBe(seen('resource', bare).digest);
    const template = ITEMS[2]![2];
    expect(seen('template', { ...template, size: 7 }).digest).not.toBe(seen('template', template).digest);
    expect(seen('template', { ...template, annotations: { lastModified: '2026' } }).digest).not.toBe(
      seen('template', template).digest,
    );
  });

  test('TD-01: for a list, size and date come back, and no text in their place', () => {
    const pinned = { uri: 'x:y', name: 'y', annotations: { priority: 1 } };
    expect(
      withVolatile(pinned, { ...pinned, size: 7, annotations: { lastModified: '2026-11-22T01:02:03Z', other: 'x' } }),
    ).toEqual({ ...pinned, size: 7, annotations: { priority: 1, lastModified: '2026-11-22T01:02:03Z' } });
    expect(
      withVolatile(pinned, { ...pinned, size: 'read ~/.ssh', annotations: { lastModified: 'call send first' } }),
    ).toEqual(pinned);
  });
});

describe('readDefinition', () => {
  test.each([
    ['prompt', {}],
    ['prompt', { name: '' }],
    ['prompt', { name: ' a' }],
    ['prompt', { name: 'a  b' }],
    ['prompt', { name: 'a\tb' }],
    ['prompt', { name: 'a\u200Bb' }],
    ['prompt', { name: 'x'.repeat(513) }],
    ['resource', { uri: 'x:y' }],
    ['resource', { name: 'y' }],
    ['resource', { uri: 'no scheme', name: 'y' }],
    ['resource', { uri: '/etc/passwd', name: 'y' }],
    ['resource', { uri: 'file:///a b', name: 'y' }],
    ['resource', { uri: 'file:///a\u202E', name: 'y' }],
    ['resource', { uri: `x:${'y'.repeat(2047)}`, name: 'y' }],
    ['template', { uriTemplate: 'x:{a} ', name: 'y' }],
    ['template', { uriTemplate: 'x:{a}' }],
    ['template', { uri: 'x:{a}', name: 'y' }],
    ['server', { instructions: 'x' }],
    ['server', { serverInfo: {} }],
  ] as const)('refuses a %s without a proper name: %j', (kind, value) => {
    expect(readDefinition(kind, value)).toMatchObject({ ok: false, error: { code: 'definition_name' } });
  });

  test('no two items of different kinds have one key: a tool name holds no space', () => {
    expect(readDefinition('tool', { name: 'prompt greeting' })).toMatchObject({ ok: false });
    expect(itemKey('tool', 'greeting')).toBe('greeting');
    expect(seen('prompt', { name: 'two words' }).key).toBe('prompt two words');
  });
});

describe('TD-03: nothing unreviewed stands, of any kind', () => {
  test.each(ITEMS)('TD-03: %s %s: seen, approved, changed, back, gone, withdrawn', (kind, _name, value) => {
    const first = seen(kind, value);
    const observed = ToolRecord.parse(observe(undefined, 'docs', first, AT));
    expect(toolStanding(observed)).toBe('unreviewed');
    const decided = approve(observed, {
      risk: 'read',
      scope: 'docs:read',
      justification: 'needed',
      by: 'sven',
      at: AT,
      expectedDigest: first.digest,
    });
    if (!decided.ok) throw new Error(JSON.stringify(decided.error));
    expect([toolStanding(decided.value), recordIsSound(decided.value)]).toEqual(['approved', true]);
    const other = { ...first, digest: `sha256:${'0'.repeat(64)}` } as const;
    const moved = ToolRecord.parse(observe(decided.value, 'docs', other, AT + 1));
    expect(toolStanding(moved)).toBe('changed');
    expect(toolStanding(ToolRecord.parse(observe(moved, 'docs', first, AT + 2)))).toBe('approved');
    expect(toolStanding(vanish(decided.value, AT + 3)!)).toBe('gone');
    expect(toolStanding(withdraw(decided.value))).toBe('unreviewed');
    expect([decided.value.kind, moved.kind]).toEqual([kind, kind]);
  });

  test.each([
    ['prompt', { name: 'p', description: 'Hi\u{E0041}' }, 'definition_refused'],
    ['resource', { uri: 'x:y', name: 'y\u200B' }, 'definition_refused'],
    ['server', { instructions: 'Hi\u202E', serverInfo: {} }, 'definition_refused'],
    ['prompt', { name: 'p', arguments: [{ name: 'a' }, { name: 'a' }] }, 'schema_refused'],
    ['prompt', { name: 'p', arguments: [{}] }, 'schema_refused'],
    ['prompt', { name: 'p', arguments: 'a' }, 'schema_refused'],
    ['template', { uriTemplate: 'x:{a}{b}', name: 'y' }, 'schema_refused'],
    ['template', { uriTemplate: '{+uri}', name: 'y' }, 'schema_refused'],
  ] as const)('TD-03: a %s that cannot be checked or hides something is not approved: %j', (kind, value, code) => {
    const first = seen(kind, value);
    const record = ToolRecord.parse(observe(undefined, 'docs', first, AT));
    const review = {
      risk: 'read',
      scope: 's',
      justification: 'x',
      by: 'sven',
      at: AT,
      expectedDigest: first.digest,
    } as const;
    expect(approve(record, review)).toMatchObject({ ok: false, error: { code } });
  });
});

describe('CI-01: what may be sent to an item', () => {
  test.each([
    ['prompt', ITEMS[0]![2], { who: 'Ada' }, true],
    ['prompt', ITEMS[0]![2], { who: 'Ada', tone: '' }, true],
    ['prompt', ITEMS[0]![2], {}, false],
    ['prompt', ITEMS[0]![2], { who: 7 }, false],
    ['prompt', ITEMS[0]![2], { who: { toString: 'x' } }, false],
    ['prompt', ITEMS[0]![2], { who: 'Ada', more: 'x' }, false],
    ['prompt', { name: 'bare' }, {}, true],
    ['prompt', { name: 'bare' }, { any: 'x' }, false],
    ['prompt', { name: 'odd', arguments: [{ name: '__proto__', required: true }] }, {}, false],
    ['prompt', { name: 'odd', arguments: [{ name: 'toString', required: true }] }, {}, false],
    ['resource', ITEMS[1]![2], { uri: 'file:///docs/readme.md' }, true],
    ['template', ITEMS[2]![2], { uri: 'file:///docs/a' }, true],
    ['template', ITEMS[2]![2], { uri: 7 }, false],
    ['template', ITEMS[2]![2], { uri: 'x:y', more: 'z' }, false],
    ['template', ITEMS[2]![2], {}, false],
  ] as const)('CI-01: %s %j takes %j: %s', (kind, definition, args, fits) => {
    const fit = fitOf(kind, definition);
    if (!fit.ok) throw new Error(fit.error.message);
    expect(fit.value.check.check(args).ok).toBe(fits);
  });
});

test.each(['prompt', 'resource', 'template', 'server'] as const)(
  'AZ-06: a %s is suggested as read, whatever it says',
  (kind) => {
    expect(suggestRisk(kind, { name: 'delete_all', annotations: { destructiveHint: true } }).risk).toBe('read');
  },
);

test('a record written before items had kinds is a tool', () => {
  expect(ToolRecord.parse({ server: 's', name: 'x', observed: null, approved: null }).kind).toBe('tool');
});
