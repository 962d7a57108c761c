/** URI templates read backwards: what expands comes back, what is ambiguous or sneaky does not match, and nothing takes long. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileTemplate } from '../../src/integrity/uri-template.ts';
import type { Template } from '../../src/integrity/uri-template.ts';

function template(text: string): Template {
  const compiled = compileTemplate(text);
  if (!compiled.ok) throw new Error(`${text}: ${compiled.error.message}`);
  return compiled.value;
}

describe('compileTemplate', () => {
  test.each([
    ['demo://text/{id}', 'demo://text/', ['id']],
    ['file:///{+path}', 'file:///', ['path']],
    ['db://{table}/rows{?limit,after}', 'db://', ['table', 'limit', 'after']],
    ['note:fixed', 'note:fixed', []],
  ] as const)('reads %s', (text, prefix, variables) => {
    expect(template(text)).toMatchObject({ text, prefix, variables });
  });

  test.each([
    ['a{b', 'has a { without a }'],
    ['a:b}c', 'has a } without a {'],
    ['x:{a}{b}', 'has two variables with nothing between them'],
    ['x:{a}{+b}', 'has two variables with nothing between them'],
    ['x:{a}/{a}', 'names the variable a twice'],
    ['x:{a,b}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{#a}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{/a}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{a*}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{a:3}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{}', 'has an expression other than {name}, {+name} and {?name,name}'],
    ['x:{?a}b', 'has something after {?…}, which must be its end'],
    ['x:{?a}{?b}', 'has something after {?…}, which must be its end'],
    ['x:y?b=1{?a}', 'has a ? before {?…}'],
    ['{scheme}://x', 'does not begin with a scheme such as file:'],
    ['{+uri}', 'does not begin with a scheme such as file:'],
    ['/{a}', 'does not begin with a scheme such as file:'],
    ['', 'does not begin with a scheme such as file:'],
    ['x:%{a}', 'has a % that begins no escape'],
    ['x:%2{a}', 'has a % that begins no escape'],
    ['x:a b', 'holds spaces or characters that nobody sees'],
    ['x:\u200B{a}', 'holds spaces or characters that nobody sees'],
    [`x:${'y'.repeat(2048)}`, 'is longer than 2048 characters'],
    [`x:${Array.from({ length: 17 }, (_, i) => `{v${i}}`).join('/')}`, 'has more than 16 variables'],
  ])('refuses %j: %s', (text, message) => {
    expect(compileTemplate(text)).toEqual({ ok: false, error: { code: 'template_refused', message } });
  });
});

describe('match', () => {
  test.each([
    ['demo://text/{id}', 'demo://text/7', { id: '7' }],
    ['demo://text/{id}', 'demo://text/a%2Fb', { id: 'a/b' }],
    ['demo://text/{id}', 'demo://text/%C3%A4%20b', { id: 'ä b' }],
    ['file:///{+path}', 'file:///a/b.txt', { path: 'a/b.txt' }],
    ['file:///{+path}', 'file:///a?b', { path: 'a?b' }],
    ['file:///{dir}/{name}.{ext}', 'file:///docs/a.md', { dir: 'docs', name: 'a', ext: 'md' }],
    ['git://{+repo}/blob/{ref}', 'git://a/b/blob/main', { repo: 'a/b', ref: 'main' }],
    ['db://t{?limit,after}', 'db://t', {}],
    ['db://t{?limit,after}', 'db://t?after=x&limit=3', { after: 'x', limit: '3' }],
    ['db://t{?limit,after}', 'db://t?limit=', { limit: '' }],
    ['x:{+a}{?q}', 'x:b/c?q=1', { a: 'b/c', q: '1' }],
    ['note:fixed', 'note:fixed', {}],
    ['x:{__proto__}', 'x:1', Object.fromEntries([['__proto__', '1']])],
    // A value is decoded once. What a second decoding would show does not reach policies as that.
    ['x:{a}', 'x:%2525', { a: '%25' }],
  ])('%s reads %s', (text, uri, values) => {
    expect(template(text).match(uri)).toEqual(values);
  });

  test.each([
    ['another beginning', 'demo://text/{id}', 'demo://blob/7'],
    ['nothing where a value must be', 'demo://text/{id}', 'demo://text/'],
    ['a slash in a simple value', 'demo://text/{id}', 'demo://text/a/b'],
    ['a query nobody declared', 'demo://text/{id}', 'demo://text/a?b=c'],
    ['a fragment', 'file:///{+path}', 'file:///a#b'],
    ['another case', 'demo://text/{id}', 'DEMO://text/7'],
    ['an escaped literal', 'demo://text/{id}', 'demo://te%78t/7'],
    ['two readings', 'file:///{name}.{ext}', 'file:///a.tar.gz'],
    ['two readings of a reserved value', 'x:{+a}/in/{+b}', 'x:1/in/2/in/3'],
    ['a parameter twice', 'db://t{?limit}', 'db://t?limit=1&limit=2'],
    ['an undeclared parameter', 'db://t{?limit}', 'db://t?limit=1&all=1'],
    ['a plus that is a space to some', 'db://t{?q}', 'db://t?q=a+b'],
    ['an empty query', 'db://t{?limit}', 'db://t?'],
    ['a broken escape', 'x:{a}', 'x:%zz'],
    ['an escape that is no UTF-8', 'x:{a}', 'x:%ff'],
    ['an escape that nothing needs', 'x:{a}', 'x:%41'],
    ['one for a server that decodes twice', 'x:{a}', 'x:%2541'],
    ['dot segments', 'file:///{+path}', 'file:///a/../b'],
    ['dot segments at the end', 'file:///{+path}', 'file:///a/..'],
    ['one dot', 'file:///{+path}', 'file:///a/./b'],
    ['dot segments that are the value', 'file:///docs/{name}', 'file:///docs/..'],
    ['escaped dots', 'file:///{+path}', 'file:///a/%2e%2E/b'],
    ['escaped slashes round dots', 'file:///docs/{name}', 'file:///docs/a%2f..%2fb'],
    ['backslashes round dots', 'file:///docs/{name}', 'file:///docs/a%5C..%5Cb'],
    ['dots escaped twice', 'file:///{+path}', 'file:///a/%252e%252e/b'],
    ['dots half in the template', 'file:///docs/.{name}', 'file:///docs/..'],
    ['dots as a parameter', 'db://t{?path}', 'db://t?path=..'],
    ['an escaped NUL', 'file:///{+path}', 'file:///a%00b'],
    ['an escaped line break', 'file:///{+path}', 'file:///a%0Ab'],
    ['a line break escaped twice', 'file:///{+path}', 'file:///a%250Ab'],
    ['a space', 'file:///{+path}', 'file:///a b'],
    ['a direction mark', 'file:///{+path}', 'file:///a\u202Eb'],
    ['more than 2048 characters', 'file:///{+path}', `file:///${'a'.repeat(2048)}`],
  ])('refuses %s: %s, %s', (_what, text, uri) => {
    expect(template(text).match(uri)).toBeNull();
  });
});

/** RFC 6570 expansion, written from the RFC for this test. */
const escapeAll = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const escapeReserved = (text: string): string =>
  text.replaceAll(/[^A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=]/gu, (c) => encodeURIComponent(c));

interface Drawn {
  readonly text: string;
  readonly uri: string;
  readonly values: Record<string, string>;
}
/** No control characters, no dot segments, no escapes of its own: those are refused on purpose and have their table above. */
const value = fc
  .string({ unit: fc.constantFrom(...Array.from('abcZ09-_~.äß€😀 /?:@!,;=&+[]')), minLength: 1, maxLength: 12 })
  .filter((text) => !/(?:^|[/\\?&=])\.{1,2}(?:$|[/\\?&#;])/.test(text));
/** Separators that no escaped value holds, so that there is one reading. */
const drawn: fc.Arbitrary<Drawn> = fc
  .record({
    simple: fc.array(value, { maxLength: 4 }),
    reserved: fc.option(value),
    query: fc.array(value, { maxLength: 3 }),
  })
  .map(({ simple, reserved, query }) => {
    const values: Record<string, string> = {};
    let [text, uri] = ['t://x', 't://x'];
    simple.forEach((one, i) => {
      values[`s${i}`] = one;
      text += `/{s${i}}`;
      uri += `/${escapeAll(one)}`;
    });
    if (reserved !== null) {
      const kept = query.length > 0 ? reserved.replaceAll('?', '') || 'r' : reserved;
      values['r'] = kept;
      text += '/{+r}';
      uri += `/${escapeReserved(kept)}`;
    }
    if (query.length > 0) {
      text += `{?${query.map((_, i) => `q${i}`).join(',')}}`;
      uri += `?${query.map((one, i) => `q${i}=${escapeAll(one)}`).join('&')}`;
    }
    query.forEach((one, i) => (values[`q${i}`] = one));
    return { text, uri, values };
  });

test('what was expanded is read back', () => {
  let matched = 0;
  fc.assert(
    fc.property(drawn, ({ text, uri, values }) => {
      const read = template(text).match(uri);
      // Only a dot segment that came about across parts may stand in the way.
      if (read === null) expect(uri).toMatch(/(?:^|[/?=])\.{1,2}(?:$|[/?&])|%2F\.{1,2}(?:$|[/?&%])|\.{1,2}%2F/);
      else {
        expect(read).toEqual(values);
        matched++;
      }
    }),
    { numRuns: 2_000, seed: 20261122 },
  );
  expect(matched).toBeGreaterThan(1_800);
});

test('whatever template and URI come: an answer, and every value stands in the URI', () => {
  const piece = fc.constantFrom(
    'x:',
    '{',
    '}',
    '{a}',
    '{b}',
    '{+c}',
    '{?d,e}',
    '/',
    '.',
    '..',
    '%',
    '%2e',
    'aa',
    '?',
    '=',
    '&',
    '-',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.array(piece, { maxLength: 20 }), (left, right) => {
      const compiled = compileTemplate(`x:${left.join('')}`);
      if (!compiled.ok) {
        expect(compiled.error.message).not.toBe('');
        return;
      }
      const uri = `x:${right.join('')}`;
      const read = compiled.value.match(uri);
      for (const one of Object.values(read ?? {})) expect(decodeURIComponent(uri)).toContain(one);
    }),
    { numRuns: 3_000, seed: 20261122 },
  );
});

test('the worst template and URI stay within a bounded number of steps', () => {
  // Every variable can end at every place: a backtracking reader would try them all, 2^16 times the length and more.
  const worst = template(`x:${Array.from({ length: 16 }, (_, i) => `{+v${i}}`).join('a')}`);
  // Linear work takes some ms; backtracking would not end within the time of a test, nor of this machine.
  for (let i = 0; i < 20; i++) expect(worst.match(`x:${'a'.repeat(2_046)}`)).toBeNull();
});
