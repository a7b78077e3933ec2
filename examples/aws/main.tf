# A Firehose stream into S3, and an identity that may put records into it.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "stream_name" {
  type    = string
  default = "clicks"
}

data "aws_caller_identity" "current" {}

resource "aws_s3_bucket" "bucket" {
  bucket_prefix = "${var.stream_name}-"
}

resource "aws_s3_bucket_public_access_block" "bucket" {
  bucket                  = aws_s3_bucket.bucket.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# What Firehose may do: write into the bucket.
resource "aws_iam_role" "stream" {
  name_prefix = "${var.stream_name}-stream-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "firehose.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "stream" {
  role = aws_iam_role.stream.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "s3:AbortMultipartUpload", "s3:GetBucketLocation", "s3:GetObject",
        "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutObject"
      ]
      Resource = [aws_s3_bucket.bucket.arn, "${aws_s3_bucket.bucket.arn}/*"]
    }]
  })
}

resource "aws_kinesis_firehose_delivery_stream" "stream" {
  name        = var.stream_name
  destination = "extended_s3"

  server_side_encryption {
    enabled  = true
    key_type = "AWS_OWNED_CMK"
  }

  extended_s3_configuration {
    bucket_arn          = aws_s3_bucket.bucket.arn
    role_arn            = aws_iam_role.stream.arn
    prefix              = "${var.stream_name}/!{timestamp:yyyy/MM/dd/HH}/"
    error_output_prefix = "${var.stream_name}-errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/"
    compression_format  = "GZIP"
    buffering_interval  = 60
    buffering_size      = 5
  }
}

# What the server may do: put records into this stream, and nothing else.
resource "aws_iam_role" "server" {
  name_prefix = "${var.stream_name}-server-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "server" {
  role = aws_iam_role.server.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["firehose:PutRecord", "firehose:PutRecordBatch"]
      Resource = aws_kinesis_firehose_delivery_stream.stream.arn
    }]
  })
}

resource "aws_iam_instance_profile" "server" {
  name_prefix = "${var.stream_name}-server-"
  role        = aws_iam_role.server.name
}

output "bucket" {
  value = aws_s3_bucket.bucket.id
}

output "stream_arn" {
  value = aws_kinesis_firehose_delivery_stream.stream.arn
}

output "instance_profile" {
  value = aws_iam_instance_profile.server.name
}
