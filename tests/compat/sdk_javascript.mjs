// The AWS SDK for JavaScript, version 3, with its defaults. Arguments: a bucket. Uses the packages of the folder it is run in.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(process.cwd() + "/");
const S3 = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const Bucket = process.argv[2];
const client = new S3.S3Client({ forcePathStyle: true });
const send = (name, input) => client.send(new S3[`${name}Command`]({ Bucket, ...input }));
const md5 = (content) => createHash("md5").update(content).digest("hex");

const large = randomBytes(11_000_000);
const pieces = Readable.from([large.subarray(0, 7_000_000), large.subarray(7_000_000)]);
await new Upload({ client, params: { Bucket, Key: "a b/+large", Body: pieces } }).done();
const got = Buffer.from(await (await send("GetObject", { Key: "a b/+large" })).Body.transformToByteArray());
assert.equal(md5(got), md5(large));

await send("PutObject", { Key: "small", Body: "s", Metadata: { colour: "red" } });
await send("PutObject", { Key: "empty", Body: "" });
const head = await send("HeadObject", { Key: "small" });
assert.deepEqual([head.ContentLength, head.Metadata], [1, { colour: "red" }]);
const refused = send("PutObject", { Key: "small", Body: "t", IfNoneMatch: "*" });
await assert.rejects(refused, { name: "PreconditionFailed" });
await send("CopyObject", { Key: "copy", CopySource: `${Bucket}/small` });
const listed = await send("ListObjectsV2", { Delimiter: "/" });
assert.deepEqual(listed.Contents.map((each) => each.Key), ["copy", "empty", "small"]);
assert.deepEqual(listed.CommonPrefixes.map((each) => each.Prefix), ["a b/"]);

const link = await getSignedUrl(client, new S3.GetObjectCommand({ Bucket, Key: "small" }));
assert.equal(await (await fetch(link)).text(), "s");
await assert.rejects(send("GetObject", { Key: "absent" }), { name: "NoSuchKey" });
const Objects = ["a b/+large", "copy", "empty", "small"].map((Key) => ({ Key }));
assert.equal((await send("DeleteObjects", { Delete: { Objects } })).Deleted.length, 4);
console.log("ok");
