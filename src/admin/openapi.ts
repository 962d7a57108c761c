/** The route table as an OpenAPI 3.1 document. Nothing is described by hand that the table or a schema already says. */
import { z } from 'zod';
import type { Route, Scope } from './route.ts';

const ErrorBody = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string(),
    remedy: z.string().optional(),
    field: z.string().optional(),
    revision: z.number().int().optional().describe('Set when the change was made although the answer is an error.'),
    inForce: z.boolean().optional().describe('With a revision: whether the node that answers decides by it already.'),
    ref: z.string().describe('Quote this when you ask for help.'),
  }),
});

export function openApiDocument(
  routes: readonly Route[],
  scopes: Readonly<Record<Scope, string>>,
  version: string,
): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Remit admin API', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: `Access token whose audience is this API. Scopes: ${Object.entries(scopes)
            .map(([name, says]) => `\`${name}\`: ${says}`)
            .join(' ')}`,
        },
      },
      schemas: { Error: schemaOf(ErrorBody) },
    },
  };
}

function operation(route: Route): object {
  const { handler } = route;
  const query = schemaOf(handler.query) as { properties?: Record<string, object>; required?: string[] };
  const parameters = [
    ...[...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...Object.entries(query.properties ?? {}).map(([name, schema]) => ({
      name,
      in: 'query',
      required: query.required?.includes(name) ?? false,
      schema,
    })),
  ];
  return {
    summary: route.summary,
    operationId: `${route.method.toLowerCase()}${route.path
      .replace(/^\/api\/v1/, '')
      .split(/[/:.]+/)
      .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
      .join('')}`,
    security: [{ bearer: [route.scope] }],
    'x-roles': typeof route.roles === 'string' ? [] : route.roles,
    ...(route.sensitive ? { 'x-recent-sign-in': true } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(handler.body === null
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(handler.body) } } } }),
    responses: {
      '2XX': { description: 'Done.' },
      default: {
        description: 'Refused or failed.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return rest;
}
