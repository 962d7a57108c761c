/** What a page in a browser may send to the listener and read of its answers. */
import { describe, expect, test } from 'vitest';
import { corsHeaders } from '../../src/gateway/cors.ts';

const CONSOLE = 'https://console.example';
const asked = (names: string, origin = CONSOLE) =>
  corsHeaders({ origin, 'access-control-request-headers': names }, [CONSOLE]);
const listed = (names: string): readonly string[] => {
  const { 'Access-Control-Allow-Headers': all = '' } = asked(names) ?? {};
  return all.split(', ').map((name) => name.toLowerCase());
};

describe('PH-03: CORS', () => {
  test('PH-03: an origin that is not listed, or none, gets no header at all', () => {
    expect(asked('', 'https://evil.example')).toBeNull();
    expect(asked('', `${CONSOLE}.evil.example`)).toBeNull();
    expect(corsHeaders({}, [CONSOLE])).toBeNull();
  });

  test('a listed origin may use every header of the protocol, and read those that answer', () => {
    expect(listed('')).toEqual(
      expect.arrayContaining([
        'authorization',
        'mcp-protocol-version',
        'mcp-method',
        'mcp-name',
        'mcp-session-id',
        'last-event-id',
      ]),
    );
    expect(asked('')).toMatchObject({
      'Access-Control-Allow-Origin': CONSOLE,
      'Access-Control-Allow-Methods': 'GET, POST, DELETE',
      'Access-Control-Expose-Headers': expect.stringContaining('Mcp-Session-Id') as string,
    });
    expect(asked('')).not.toHaveProperty('Access-Control-Allow-Credentials');
  });

  test('headers that mirror arguments are allowed by name, and nothing else that was asked for', () => {
    const names = listed(
      'content-type, MCP-Param-Region, mcp-param-, mcp-param-a b, x-forwarded-for, cookie, mcp-param-x\u00e9',
    );
    expect(names.filter((name) => name.startsWith('mcp-param'))).toEqual(['mcp-param-region']);
    expect(names).not.toContain('x-forwarded-for');
    expect(names).not.toContain('cookie');
    const many = listed(Array.from({ length: 500 }, (_, i) => `mcp-param-${i}`).join(','));
    expect(many.filter((name) => name.startsWith('mcp-param'))).toHaveLength(100);
  });
});
