// The tour: create, add, query, filter, update, delete, as an application does it.
import assert from "node:assert/strict";

import { ChromaClient } from "chromadb";

const client = new ChromaClient({ host: "127.0.0.1", port: Number(process.argv[2]), ssl: false });
assert.ok(await client.heartbeat());

const options = { configuration: { hnsw: { space: "cosine" } }, embeddingFunction: null };
const articles = await client.createCollection({ name: "articles", metadata: { topic: "news" }, ...options });
assert.equal(articles.name, "articles");
const same = await client.getOrCreateCollection({ name: "articles", ...options });
assert.equal(same.id, articles.id);
assert.equal((await client.listCollections()).length, 1);

await articles.add({
  ids: ["a", "b", "c"],
  embeddings: [[1, 0], [0, 1], [1, 1]],
  metadatas: [{ year: 2020 }, { year: 2024 }, { year: 2024, tags: ["new", "short"] }],
  documents: ["first words", "second words", "third text"],
});
assert.equal(await articles.count(), 3);

const near = await articles.query({ queryEmbeddings: [[1, 0.1]], nResults: 2 });
assert.deepEqual(near.ids, [["a", "c"]]);
assert.ok(near.distances[0][0] < near.distances[0][1]);

const recent = await articles.query({ queryEmbeddings: [[1, 0.1]], nResults: 3, where: { year: { $gte: 2021 } } });
assert.deepEqual(recent.ids, [["c", "b"]]);
const words = await articles.get({ whereDocument: { $contains: "words" }, include: ["documents", "embeddings"] });
assert.deepEqual(words.ids, ["a", "b"]);
assert.deepEqual(words.embeddings[1], [0, 1]);
assert.equal(words.documents[0], "first words");

await articles.update({ ids: ["a"], metadatas: [{ year: 2025 }] });
await articles.upsert({ ids: ["d"], embeddings: [[0.5, 0.5]], metadatas: [{ year: 2019 }], documents: ["fourth"] });
const found = await articles.get({ ids: ["a", "d"] });
assert.deepEqual(found.metadatas, [{ year: 2025 }, { year: 2019 }]);
assert.equal((await articles.peek({ limit: 2 })).ids.length, 2);

await articles.delete({ where: { year: 2024 } });
assert.deepEqual((await articles.get()).ids, ["a", "d"]);
await articles.delete({ ids: ["a"] });
assert.equal(await articles.count(), 1);

await articles.modify({ name: "renamed" });
assert.equal((await client.getCollection({ name: "renamed", embeddingFunction: null })).id, articles.id);
await client.deleteCollection({ name: "renamed" });
await assert.rejects(client.getCollection({ name: "renamed", embeddingFunction: null }));
console.log("the tour is done");
