/** Pictures, sound and archives (CI-09): passed on unread and marked; what they are by their first bytes; nothing is unpacked. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inspectResource, inspectResult } from '../../src/content/inspect.ts';
import { sniff } from '../../src/content/media.ts';
import { InspectionPolicy } from '../../src/content/records.ts';
import { compileRules } from '../../src/content/rules.ts';

const question = {
  direction: 'in',
  risk: 'read',
  server: 's',
  dataClasses: ['internal'],
  own: null,
  planted: null,
} as const;
const TERMS = compileRules(null).terms(question);
const b64 = (bytes: readonly number[] | string): string => Buffer.from(bytes as string, 'latin1').toString('base64');
const PNG = b64('\x89PNG\r\n\x1a\n\0\0\0\rIHDR');
const BOMB = gzipSync(Buffer.alloc(10_000_000)).toString('base64');

describe('CI-09: what the first bytes say', () => {
  test.each<[string, string, string, string | null, boolean]>([
    ['a PNG', PNG, 'image/png', 'image', false],
    ['a JPEG', b64('\xff\xd8\xff\xe0'), 'image/jpeg', 'image', false],
    ['a GIF', b64('GIF89a'), 'image/gif', 'image', false],
    ['a WebP', b64('RIFFabcdWEBP'), 'image/webp', 'image', false],
    ['a WAV', b64('RIFFabcdWAVE'), 'audio/wav', 'audio', false],
    ['an MP3', b64('ID3abc'), 'audio/mpeg', 'audio', false],
    ['an SVG', b64(' <svg xmlns="">'), 'image/svg+xml', 'svg', false],
    ['a PDF', b64('%PDF-1.7'), 'application/pdf', 'document', false],
    ['a ZIP', b64('PK\x03\x04'), 'application/zip', 'archive', false],
    ['something by no name', PNG, 'application/octet-stream', 'image', false],
    ['a PNG that says it is a JPEG', PNG, 'image/jpeg', 'image', true],
    ['an archive that says it is a PNG', b64('\x1f\x8b\x08\0'), 'image/png', 'archive', true],
    ['a program that says it is a GIF', b64('MZ\x90\0'), 'image/gif', 'program', true],
    ['a page that says it is a PNG', b64('<!DOCTYPE html><script>'), 'image/png', 'html', true],
    ['nothing known that says it is a PNG', b64('abcdefgh'), 'image/png', null, true],
    ['nothing known that claims nothing', b64('abcdefgh'), 'application/x-own', null, false],
  ])('CI-09: %s', (_what, bytes, said, kind, mismatch) => {
    expect(sniff(bytes, said)).toEqual({ kind, mismatch });
  });
  test('CI-09: a PNG is known by all of its eight bytes', () => {
    expect(sniff(b64('\x89PNG\r\n\x1a\x0b'), 'image/png')).toEqual({ kind: null, mismatch: true });
  });
});

describe('CI-09: passed on and marked', () => {
  test('CI-09: a picture', () => {
    const block = { type: 'image', mimeType: 'image/png', data: PNG };
    expect(inspectResult({ content: [block] }, undefined, TERMS)).toMatchObject({
      verdict: 'pass',
      result: { content: [block] },
      labels: ['uninspected:image'],
      findings: [{ class: 'media.image', at: '/content/0', span: null, action: 'label' }],
      inspected: expect.arrayContaining(['uninspected:image', 'found:media.image@/content/0=label']),
    });
  });
  test('CI-09: a bomb is not unpacked: it is an archive that nobody looked into', () => {
    const contents = [{ uri: 'x:y', blob: BOMB, mimeType: 'image/png' }];
    const started = performance.now();
    const looked = inspectResource({ contents }, undefined, TERMS);
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(looked).toMatchObject({
      verdict: 'pass',
      result: { contents },
      labels: ['uninspected:archive', 'uninspected:blob'],
    });
    expect(looked.findings.map((finding) => finding.class)).toEqual(['media.blob', 'media.archive', 'media.mismatch']);
  });
  test.each(['media.*', 'media.archive', 'media.mismatch', 'media.blob'])('CI-09: not with a rule for %s', (one) => {
    const rule = { classes: [one], direction: 'in', action: 'withhold' };
    const terms = compileRules(InspectionPolicy.parse({ rules: [rule] })).terms(question);
    const contents = [{ uri: 'x:y', blob: BOMB, mimeType: 'image/png' }];
    expect(inspectResource({ contents }, undefined, terms)).toMatchObject({
      verdict: 'withhold',
      reason: 'result_forbidden',
      result: null,
    });
  });
});
