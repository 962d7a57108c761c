/** The part of `samlp` that the tests use. */
declare module 'samlp' {
  export function getSamlResponse(
    options: Record<string, unknown>,
    user: unknown,
    done: (error: Error | null, xml?: string) => void,
  ): void;
  export function parseRequest(
    request: { method: string; query: Record<string, string> },
    options: Record<string, unknown>,
    done: (error: Error | null, data?: Record<string, string | undefined>) => void,
  ): void;
}
